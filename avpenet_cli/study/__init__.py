"""Tables about people: score tables, ratings, subjects and events, and how they are joined."""
