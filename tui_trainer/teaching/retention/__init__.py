"""What a base keeps while corrections are learned: questions, answers, replay."""
