"""Weights of few values: where the first centroids lie, k-means on numbers, and the groups of a weight."""

from __future__ import annotations

from slimedge.registry import Registry

# Where k-means starts. Each takes a `Numbers`, how many centroids to add, those that there are, and a generator.
INITIALIZATIONS = Registry(
    "initialization",
    {
        "kmeans++": "slimedge.compress.clusters.centroids:kmeans_plus_plus",
        "linear": "slimedge.compress.clusters.centroids:linear",
        "density": "slimedge.compress.clusters.centroids:density",
    },
)
