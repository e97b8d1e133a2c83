"""The one outbound road between appliance and console; it moves messages and knows none of them."""
