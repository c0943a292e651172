"""What relaxes later, without a recoil: three wings that know nothing of each other."""
