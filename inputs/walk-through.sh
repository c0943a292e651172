#!/usr/bin/env bash
# From a model of the stored energy to three figures: calibration by neutron capture (CRAB), dark matter and reactor
# neutrinos, and new physics that the loss could pass for. To be laid beside Fig. 4 and 5 of Soum-Sidikov et al. (2024).
#
#   bash walk-through.sh                    # printed means and marked assumptions; about two minutes
#   bash walk-through.sh RUN                # a run directory of `cascade run`, or a model file of `cascade fit`
#   bash walk-through.sh RUN RUN2 RUN3      # the same campaign with other potentials: their spread is in the bands
#
# Everything lands in the folder walk-through/ (or in $OUT).
set -euo pipefail

OUT=${OUT:-walk-through}
MODEL=(--extrapolate) # recoils above the highest simulated energy come to lie below it
for model in "${@:-cawo4-published}"; do MODEL+=(--model "$model"); done
mkdir -p "$OUT"

echo "1. CRAB: thermal neutrons on 0.75 g of CaWO4, 100 per cm2 and s, resolution 5 eV"
# Two thirds of the captures in W have no tabulated gamma: a statistical continuum of 0.5 MeV stands for them.
CRAB=(cascade spectrum capture --target CaWO4 --neutron-flux-cm2-s 100 --continuum-temperature-MeV 0.5
      --energy-eV 0 180 --bins 360)
"${CRAB[@]}" --resolution-eV 5 --mass-g 0.75 --out "$OUT/crab-expected.csv"
"${CRAB[@]}" --resolution-eV 5 --mass-g 0.75 "${MODEL[@]}" --out "$OUT/crab-observed.csv"
cascade draw "$OUT/crab-expected.csv" "$OUT/crab-observed.csv" --mass-g 0.75 --lines-eV 80.3 112.4 160.3 \
    --range-eV 40 180 --log-counts --out "$OUT/1-crab"

echo "   What a day shows: positions of the peaks, and how surely the energy scale is not that of no loss"
# A peak is all that lies within 8 eV around it, not one line: fine bins of the recoils say what. Of the spectrum
# without loss the same fit finds shifts of -0.0, -0.4 and 0.0 eV: what its background cannot describe. A straight
# line through three peaks sees next to nothing of the loss, the offset is what shows (test `absolute`).
cascade spectrum capture --target CaWO4 --neutron-flux-cm2-s 100 --energy-eV 0 180 --bins 1800 --out "$OUT/crab-fine.csv"
cascade lines "$OUT/crab-observed.csv" --recoils "$OUT/crab-fine.csv" --at-eV 80 112 160 --between-eV 55 178 \
    --half-window-eV 8 --resolution-eV 5 --exposure-kg-day 0.00075

echo "2. Dark matter of 2 GeV, and antineutrinos of two reactor cores of 4.25 GW"
BINS=(--target CaWO4 --energy-eV 1 200 --bins 199)
DM=(cascade spectrum dm --mass-GeV 2 --cross-section-cm2 1e-40)
NU=(cascade spectrum cevns --power-GW 4.25 4.25 --distance-m 72 102)
"${DM[@]}" "${BINS[@]}" --out "$OUT/dm-expected.csv"
"${DM[@]}" "${BINS[@]}" "${MODEL[@]}" --out "$OUT/dm-observed.csv"
"${NU[@]}" "${BINS[@]}" --out "$OUT/cevns-expected.csv"
"${NU[@]}" "${BINS[@]}" "${MODEL[@]}" --out "$OUT/cevns-observed.csv"
cascade draw "$OUT/dm-expected.csv" "$OUT/dm-observed.csv" "$OUT/cevns-expected.csv" "$OUT/cevns-observed.csv" \
    --titles "dark matter, 2 GeV, 10⁻⁴⁰ cm²" "reactor neutrinos" --range-eV 0 150 --out "$OUT/2-dark-matter-and-cevns"

echo "3. New physics that looks alike: the same neutrinos with a magnetic moment"
"${NU[@]}" "${BINS[@]}" --magnetic-moment-bohr 1e-10 --out "$OUT/cevns-magnetic.csv"
cascade draw "$OUT/cevns-expected.csv" "$OUT/cevns-observed.csv" "$OUT/cevns-expected.csv" "$OUT/cevns-magnetic.csv" \
    --labels "standard model, nothing stored" "with one thing more:" \
    --titles "stored energy" "magnetic moment of 10⁻¹⁰ Bohr magnetons" --range-eV 10 150 --out "$OUT/3-cevns-new-physics"

echo "Three figures are in $OUT/"
