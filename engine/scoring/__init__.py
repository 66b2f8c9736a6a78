"""Scoring: benchmark sets enhanced and measured, and the reports of it."""
