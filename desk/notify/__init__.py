"""Passes alerts on to people's chats: from a queue that is subscribed to the topic, by apprise's URLs."""
