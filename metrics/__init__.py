"""Picture quality metrics: one file per kind; `metrics.suite.MetricSuite` scores pictures with those asked for."""
