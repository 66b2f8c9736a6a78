"""Enhancing photos: the network on one of them, on folders of files, and as an exported file."""
