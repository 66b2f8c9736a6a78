"""The study of scenes that test and training splits share: `python -m data.overlap`."""
