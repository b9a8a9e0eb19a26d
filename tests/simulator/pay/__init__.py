"""Tests of WeChat Pay as the simulator plays it."""
