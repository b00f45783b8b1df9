"""What the README shows is what runs."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_the_walk_in_the_readme_is_the_script() -> None:
    walk = (ROOT / "deploy" / "walk.sh").read_text().partition("# walk\n")[2]

    assert walk
    assert walk in (ROOT / "README.md").read_text()


def test_every_file_that_the_readme_links_to_exists() -> None:
    text = (ROOT / "README.md").read_text()
    links = {part.split(")")[0] for part in text.split("](")[1:]}

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
