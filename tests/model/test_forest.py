"""The forest of tensors against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestRegressor

from avpenet_cli.model.forest import RegressionForest


@pytest.mark.parametrize(("max_depth", "min_leaf"), [(16, 1), (3, 5), (1, 1)])
def test_forest_predicts_what_sklearn_predicts(max_depth: int, min_leaf: int) -> None:
    rng = np.random.default_rng(1)
    features = rng.standard_normal((300, 12)).astype(np.float32)
    # Coarse values occur more than once, so that thresholds lie close to or on them.
    features[:, :6] = np.round(features[:, :6], 1)
    truth = 5 + features[:, 0] * 2 + features[:, 7] ** 2
    forest = RandomForestRegressor(25, max_depth=max_depth, min_samples_leaf=min_leaf, max_features=0.5, random_state=3)
    forest.fit(features, truth)
    converted = RegressionForest.from_sklearn(forest)
    trees = [tree.tree_ for tree in forest.estimators_]
    on_thresholds = features.copy()
    for row in range(len(features)):
        tree = trees[row % len(trees)]
        for node in np.flatnonzero(tree.feature >= 0):
            on_thresholds[row, tree.feature[node]] = np.float32(tree.threshold[node])
    for rows in (features, on_thresholds, on_thresholds.round(1)):
        predicted = converted(torch.from_numpy(rows)).numpy()
        np.testing.assert_allclose(predicted, forest.predict(rows), atol=1e-5)


def test_a_value_on_a_threshold_goes_the_way_it_goes_in_sklearn() -> None:
    # The thresholds halfway between these are no float32; rounded to the nearest, some would lie above them.
    rng = np.random.default_rng(4)
    low = (4 + rng.random(200)).astype(np.float32)
    values = np.unique(np.concatenate([low, np.nextafter(low, np.float32(9))]))[:, None]
    forest = RandomForestRegressor(1, bootstrap=False).fit(values, np.arange(len(values)))
    predicted = RegressionForest.from_sklearn(forest)(torch.from_numpy(values)).numpy()
    np.testing.assert_allclose(predicted, forest.predict(values), atol=1e-5)
