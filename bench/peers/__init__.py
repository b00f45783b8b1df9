"""What the product is compared with, in the same run."""
