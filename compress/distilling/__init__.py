"""What a student learns from its teachers: outputs, features, attention, relations."""
