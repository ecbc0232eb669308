"""What runs on ECS, and the commands that bring it there: `python -m ecs push|scan-image|deploy|destroy`."""
