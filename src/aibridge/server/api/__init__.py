"""The management API: what was recorded, for those who may see it. Nothing of it is on the way of a request to a model."""
