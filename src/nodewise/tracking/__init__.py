"""Mirrors runs to MLflow, and keeps models under names in its registry.

MLflow is loaded when a run has ended or a model is asked for by name. Without it everything else works.
"""
