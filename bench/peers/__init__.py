"""The race: HAI and its peers on the same networks, in turns on one machine (`./dev bench peers`)."""
