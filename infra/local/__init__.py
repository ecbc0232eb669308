"""The whole pipeline on one machine: an embedded AWS, the two commands as they run in containers, a live view."""
