"""What holds for all tests."""

from hypothesis import settings

settings.register_profile("thorough", max_examples=2_000)
settings.register_profile("quick", max_examples=20)
