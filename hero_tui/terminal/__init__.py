"""The app's hold on the terminal: taking it, giving it back, title and bell."""
