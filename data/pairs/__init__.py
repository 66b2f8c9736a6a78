"""What a training sees: photos, darkened, in batches."""
