/** The failure of what was too slow for its limit: no fault, but nothing to compare either. */
export const DID_NOT_FINISH = "did not finish";
