"""The parts that methods are made of: searches along a direction, trust regions, and the initial scaling."""
