"""WeChat Pay APIv3 as its documents describe it, in the middle of its switch of keys."""
