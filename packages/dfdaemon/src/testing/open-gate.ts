/** Waited for until somebody opens it. */
export interface Gate {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
}

export function openGate(): Gate {
  let resolve: () => void = () => {};
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
