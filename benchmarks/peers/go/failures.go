package main

import (
	"sync"
	"time"
)

// FailedLogins limits those of each address in a window of time.
type FailedLogins struct {
	limit   int
	window  time.Duration
	lock    sync.Mutex
	windows map[string]*failures
}

type failures struct {
	count int
	until time.Time
}

func newFailedLogins(limit int, window time.Duration) *FailedLogins {
	limiter := &FailedLogins{limit: limit, window: window, windows: map[string]*failures{}}
	go func() {
		for now := range time.Tick(window) {
			limiter.forget(now)
		}
	}()
	return limiter
}

// Wait is how long this address may not try; 0 if it may.
func (limiter *FailedLogins) Wait(address string) time.Duration {
	limiter.lock.Lock()
	defer limiter.lock.Unlock()
	if found := limiter.windows[address]; found != nil && found.count >= limiter.limit {
		if wait := time.Until(found.until); wait > 0 {
			return wait
		}
	}
	return 0
}

// Count notes a failure.
func (limiter *FailedLogins) Count(address string) {
	now := time.Now()
	limiter.lock.Lock()
	defer limiter.lock.Unlock()
	found := limiter.windows[address]
	if found == nil || !found.until.After(now) {
		found = &failures{until: now.Add(limiter.window)}
		limiter.windows[address] = found
	}
	found.count++
}

func (limiter *FailedLogins) forget(now time.Time) {
	limiter.lock.Lock()
	defer limiter.lock.Unlock()
	for address, found := range limiter.windows {
		if !found.until.After(now) {
			delete(limiter.windows, address)
		}
	}
}
