"""Tests of the whole project; a package so that tests and benches share their oracles."""
