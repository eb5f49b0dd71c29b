"""Tables about people: score tables, ratings, subjects, events, and how they are joined."""
