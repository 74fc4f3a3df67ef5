"""The figures of metrics.json, their intervals, and the calibration that validation gives."""
