"""The peers against which the NPU's model of time is held: Vela and SCALE-Sim, layer by layer."""
