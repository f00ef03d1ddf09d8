"""Files of a group, which run at once: a run and its scripts -> what is applied of them."""
