"""Is a potential fit for cascades: the ZBL core (`zbl`), ASE on it (`calculator`), the contract and its memory."""
