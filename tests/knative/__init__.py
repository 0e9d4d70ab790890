"""The archive on Knative: functions as Services, events by KafkaSource's rules (README.md)."""
