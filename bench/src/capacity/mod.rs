//! Capacity: how much fits, from measurements, and what follows from it. Never starts anything but runs of the generator.
