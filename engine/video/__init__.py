"""Moving pictures: a clip read, enhanced frame by frame without flicker, and written with all it had beside its pictures."""
