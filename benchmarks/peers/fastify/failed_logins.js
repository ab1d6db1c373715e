// A limit to the failed logins of each address, in a window of time.

export class FailedLogins {
  #limit
  #windowMs
  #windows = new Map()

  constructor (limit, windowMs) {
    this.#limit = limit
    this.#windowMs = windowMs
    setInterval(() => this.#forget(), windowMs).unref()
  }

  // Until this address may try again; 0 if it may now.
  secondsLeft (address) {
    const window = this.#windows.get(address)
    if (window === undefined || window.count < this.#limit) return 0
    return Math.max(0, Math.ceil((window.until - Date.now()) / 1000))
  }

  count (address) {
    const now = Date.now()
    const window = this.#windows.get(address)
    if (window === undefined || window.until <= now) {
      this.#windows.set(address, { count: 1, until: now + this.#windowMs })
    } else {
      window.count++
    }
  }

  #forget () {
    const now = Date.now()
    for (const [address, { until }] of this.#windows) {
      if (until <= now) this.#windows.delete(address)
    }
  }
}
