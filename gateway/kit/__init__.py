"""The ground floor: bricks that know nothing of the product."""
