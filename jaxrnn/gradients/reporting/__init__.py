"""Reports: what was measured of some networks as an interactive page, pictures, tables and findings in words."""
