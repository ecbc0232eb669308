"""Tests of the images and of compose.yaml, on a real Docker Engine: ``make test-containers``."""
