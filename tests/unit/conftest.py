"""How long an example takes is no failure: a slow machine, or one that runs other tests beside."""

from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
