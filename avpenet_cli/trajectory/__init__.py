"""A patient's scores over time: smoothed, with changes, states, measures, ratings, events and alerts."""
