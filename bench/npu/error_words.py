"""Prose of the page that `errors.py` makes."""

VELA = """\
Compute cycles of profile `ethos-u85-2048` against Vela's for the same INT8 network. Vela's totals are not compared: it charges
DRAM for biases that its own table puts into SRAM. Layers pair by kind, shapes and window, and of these by name, or else by order.
A cell: median of |ours / Vela - 1| (median with its sign), share of the layers within 30 %.

- *Product's rules*: array and units as `sd3403` has them, with 2048 products a cycle. Nothing of Vela's is in it.
- *Structure, nothing fitted*: the shape of the array and the rates of the units that Vela's table shows (`profiles.def` says
  what each is). That structure was read off layers of *both* halves, and then revised three times on residuals of the fitted half
  (groups of taps and of steps, whole micro-blocks, no start of sums and products), so neither half is a clean prediction of it.
- *Fitted start*: one number, `start_cycles`, chosen on the fitted half alone for the least median over its layers
  (`./dev bench npu_errors --fit`). Halves by CRC-32 of (operator, shapes, kernel, stride, chained): equal layers share a half.
- *384 KiB, 4 MiB*: of scratchpad. Vela's machine has 384 KiB, and cuts its work into blocks without starting anew; our compiler
  cuts layers into stripes, each command of which starts and drains again, and that is in the cycles. 4 MiB leave
  fewer stripes (DenseNet still has many), so less of the compiler's choices in the comparison. They were introduced after the
  fitted half had been seen with 384 KiB (a median near 20 % whatever the start), and before the other half was looked at.
  By the machine as Vela has it, 384 KiB, the fitted half is just within 15 %.

Layers under 200 of Vela's cycles and the quarters of transposed convolutions are left out. Networks with layers
that are too large for 384 KiB have 4 MiB in all columns.""".splitlines()

FRESH = """\
The clean prediction: named before anything was fitted, their layers first compared when all values of the profile stood, and
nothing changed after. Layers whose shapes occur above are left out.
""".splitlines()

SCALE_SIM = """\
The same layers, the same products, 2048 a cycle. SCALE-Sim's array of 32 x 64 fills and drains at every fold (2R + C + P - 2
cycles weight stationary, of P pixels) and loads no weights behind the use of others; ours loads a block behind the one before.

- conv2_x: a fold is long, and both are near 100 %; the profile takes 3x3 windows as Vela does, 9 taps in the time of 12.
- conv4_x, product's rules, twice the cycles at 100 %: 16 output channels at a time, as a quarter of the weight cache holds 28 of
  2304 bytes and the compiler cuts to whole 16. The array of this variant is 32 wide, so half of it idles. `sd3403`'s is 16 wide.
- conv5_x: 49 pixels a fold, which SCALE-Sim spends mostly on filling and draining. The profile's groups of 16 pixels make 64
  of 49, and every command starts anew.
""".splitlines()

YOLO_ON_SVP = (
    "within 2x: published at 25 % of the engine's peak, by the vendor's compiler; ours overlaps all transfers with arithmetic, and "
    "idles part of an array of 64 output channels where the weight cache holds fewer"
)
NO_DRIVER = "within 2x: nothing of a driver or of other users of DRAM is in ours"
SMALL_NETWORK = (
    "more than 2x: published at 0.13 TMAC/s, an eighth of the peak. What we do not model, a driver's call and the start of "
    "layers, weighs most in a network of half a millisecond (likely), and depthwise layers run at the product's 64 outputs a "
    "cycle here, an assumption for this chip"
)
