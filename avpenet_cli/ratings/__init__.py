"""Human ratings: importing them, sampling what to rate, agreement of raters."""
