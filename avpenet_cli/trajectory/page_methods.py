"""How the numbers of the page are made, in words, with the constants that the program uses."""

from __future__ import annotations

from avpenet_cli.phrasing import percent
from avpenet_cli.stats import after_event, change_points, rating_lag, smoothing, trajectory_measures
from avpenet_cli.stats.states import RULE

SOURCES = (
    "Bartlett MS (1935). J R Stat Soc 98:536. Correlation of series that correlate with themselves.",
    "Bonett DG, Wright TA (2000). Psychometrika 65:23. Interval of a rank correlation.",
    "Chan JCC, Jeliazkov I (2009). Int J Math Model Numer Optim 1:101. Draws of the level.",
    "Durbin J, Koopman SJ (2012). Time Series Analysis by State Space Methods, 2nd ed. Smoother.",
    "Gal Y, Ghahramani Z (2016). ICML. Monte Carlo dropout.",
    "Hansen BE (2000). Econometrica 68:575. Interval of a change's place.",
    "Harvey AC (1989). Forecasting, Structural Time Series Models and the Kalman Filter. Local level model.",
    "Killick R, Fearnhead P, Eckley IA (2012). J Am Stat Assoc 107:1590. PELT.",
    "Künsch HR (1989). Ann Stat 17:1217. Bootstrap of blocks.",
)


def methods() -> tuple[tuple[str, str], ...]:
    """Title and text of each method."""
    return (
        (
            "Scores and their band",
            "One score for each segment. The band lies between the 2.5th and the 97.5th percentile of the segment's"
            " Monte Carlo dropout samples, where it has any (Gal and Ghahramani 2016). It says how sure the network is,"
            " not how right.",
        ),
        (
            "Smoothed level",
            "Local level model: each score is the level then, plus noise; the level is a random walk (Harvey 1989;"
            " Durbin and Koopman 2012). A score's noise is the variance of its Monte Carlo samples plus a part that is"
            " estimated with the size of the walk's steps: averaged over what the likelihood and their priors allow."
            " Segments that overlap are counted once. All scores of a series are"
            " used, earlier and later ones. A level needs"
            f" {smoothing.FEWEST_SCORES} scores that are worth {smoothing.FEWEST_WINDOWS:g} segments without overlap."
            f" In each recording, and after more than {smoothing.LONGEST_CARRIED_S:g} s without a score, it starts"
            " anew. Lines are drawn where"
            " there are scores only.",
        ),
        (
            "Measures",
            "Of the level, over the time with scores; each segment stands for the time nearest to its middle."
            " Intervals:"
            f" 2.5th and 97.5th percentiles over {smoothing.N_DRAWS} levels drawn given all scores. Mean and"
            " area are those of the drawn line; highest level and time above a cut point are medians over the draws,"
            " since the line is smoother than the level that it estimates. A peak has a prominence of at least"
            f" {trajectory_measures.LEAST_PROMINENCE:g} point.",
        ),
        (
            "Changes of the level",
            "The level is taken for constant between changes, and the fewest changes are sought that explain the scores"
            " (PELT with squared error; Killick et al. 2012). The penalty grows with the logarithm of the length, and"
            " is"
            " such that at most one in twenty series of a constant level has a change. A change is at least"
            f" {change_points.LEAST_CHANGE:g} point, and {change_points.FEWEST_WINDOWS} segments without overlap lie"
            " between changes. Intervals: times at which the profile likelihood is not much lower (Hansen 2000).",
        ),
        (
            "States",
            f"Each segment is judged by the {RULE.seconds:g} s about its middle; the first that holds counts."
            f" Indeterminate: less than {percent(RULE.least_scored, 0)} of that time has a score, or the level's 95 %"
            f" interval is wider than {RULE.widest_band:g} points. Rising or falling: the level changes by at least"
            f" {RULE.change:g} point and half of its range, and zero is outside of the change's 95 % interval."
            f" Unstable: the range is at least {RULE.range:g} points, or the scores spread about a straight line by"
            " more"
            f" than {RULE.spread:g} point beyond their own noise. Indeterminate: the interval of the change reaches"
            f" beyond {RULE.open_change:g} points. Else stable.",
        ),
        (
            "After an event",
            f"Level at the event, and the highest within {after_event.RESPONSE_S:g} s. Half-time: from the highest"
            " level"
            " to the first that lies halfway between it and the lowest of what follows, within"
            f" {after_event.FOLLOW_UP_S / 60:g} min and before the next event, for a decline of at least"
            f" {after_event.LEAST_DECLINE:g} point that is followed for {after_event.LEAST_FOLLOWED:g} more"
            " half-times. What follows an event need not be due to it.",
        ),
        (
            "Agreement with ratings",
            "A rating is compared with the mean of the scores within its span. Spearman's rank correlation; the lag is"
            f" the one, up to {rating_lag.LONGEST_LAG_S:g} s in either direction, at which it is highest, if that is"
            " beyond"
            " what unrelated series that change as slowly reach. Interval of the correlation: Fisher's z for ranks with"
            " the number of independent pairs that these are worth by their autocorrelations (Bartlett 1935; Bonett and"
            " Wright 2000); scores and ratings that change slowly are worth few, and agree by chance. At the lag, the"
            " correlation is the highest of many and too high. Interval of the lag: percentiles over resamples of"
            " blocks"
            f" of {rating_lag.BLOCK_S:g} s (Künsch 1989). Ranks that agree do not"
            " show that the values do: avpenet report compares these.",
        ),
        (
            "Quality",
            "Of the evidence behind a score, 0 to 1: the lowest of the rate and the confidence of the face, and of 0.5"
            " where the audio has gaps, is clipped or damaged, as far as they made the score; 0 without a score.",
        ),
        (
            "Alerts",
            "Rules are evaluated on what was known at each moment: the scores until then. An alert is drawn and listed"
            " from when its condition began, and from when it could be known. Rules are for reviewing archives.",
        ),
    )
