"""Engines: local processes, Spark, Ray. Each module alone imports its SDK, when it is used."""
