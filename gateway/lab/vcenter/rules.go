package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// What a rule does to the call it matches. A rule's delay comes first, whatever the outcome.
const (
	outcomeDelay       = "delay"            // the call is answered late
	outcomeFault       = "fault"            // the call is refused with a SOAP fault
	outcomeTaskDelay   = "task_delay"       // the task is accepted at once and takes longer
	outcomeTaskFault   = "task_fault"       // the task is accepted, does nothing and ends in error
	outcomeTaskLate    = "task_fault_after" // the task does its work and then ends in error all the same
	outcomeReset       = "reset"            // the connection is cut before the call is carried out
	outcomeLoseReply   = "lose_reply"       // the call is carried out and the connection cut before the answer
	outcomeUnavailable = "unavailable"      // HTTP 503, not carried out
)

var wireOutcomes = []string{outcomeReset, outcomeLoseReply, outcomeUnavailable}

// rule says what happens to calls that match it. An empty or "*" pattern matches everything.
type rule struct {
	ID          int     `json:"id"`
	Method      string  `json:"method"`      // SOAP name, such as "CloneVM_Task"
	ObjectType  string  `json:"object_type"` // such as "VirtualMachine"
	ObjectName  string  `json:"object_name"` // the entity's name, exactly
	Outcome     string  `json:"outcome"`
	Fault       string  `json:"fault"`       // a key of faultKinds
	Message     string  `json:"message"`     // what the fault says
	Probability float64 `json:"probability"` // 0 to 1
	Count       int     `json:"count"`       // at most so many times; 0 is without end
	Skip        int     `json:"skip"`        // let so many matching calls pass first
	DelayMS     int     `json:"delay_ms"`
	Seen        int     `json:"seen"` // matching calls so far
	Hits        int     `json:"hits"` // of these, calls the rule acted on
}

func (r *rule) delay() time.Duration { return time.Duration(r.DelayMS) * time.Millisecond }

func (r *rule) onTheWire() bool { return slices.Contains(wireOutcomes, r.Outcome) }

func (r *rule) check() error {
	known := append([]string{outcomeDelay, outcomeFault, outcomeTaskDelay, outcomeTaskFault, outcomeTaskLate}, wireOutcomes...)
	if !slices.Contains(known, r.Outcome) {
		return fmt.Errorf("outcome %q is none of %v", r.Outcome, known)
	}
	if _, ok := faultKinds[r.Fault]; r.Fault != "" && !ok {
		return fmt.Errorf("fault %q is none of %v", r.Fault, faultNames())
	}
	if r.Probability < 0 || r.Probability > 1 || r.Count < 0 || r.Skip < 0 || r.DelayMS < 0 {
		return fmt.Errorf("probability lies between 0 and 1; count, skip and delay_ms are not negative")
	}
	return nil
}

func matches(pattern, text string) bool { return pattern == "" || pattern == "*" || pattern == text }

// rulebook holds the rules; the first that matches and is not used up decides.
type rulebook struct {
	registry *simulator.Registry
	exempt   string // the user no rule applies to

	mu    sync.Mutex
	rules []*rule
	next  int
}

func (b *rulebook) add(r rule) rule {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	r.ID, r.Seen, r.Hits = b.next, 0, 0
	b.rules = append(b.rules, &r)
	return r
}

func (b *rulebook) list() []rule {
	b.mu.Lock()
	defer b.mu.Unlock()
	found := make([]rule, 0, len(b.rules))
	for _, r := range b.rules {
		found = append(found, *r)
	}
	return found
}

// remove takes back one rule, or all when id is 0, and says how many went.
func (b *rulebook) remove(id int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := len(b.rules)
	b.rules = slices.DeleteFunc(b.rules, func(r *rule) bool { return id == 0 || r.ID == id })
	return before - len(b.rules)
}

// decide counts a call against the rules and returns a copy of the one that acts on it, or nil.
func (b *rulebook) decide(method string, object types.ManagedObjectReference, wire bool) *rule {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.rules {
		if r.onTheWire() != wire || (r.Count > 0 && r.Hits >= r.Count) {
			continue
		}
		if !matches(r.Method, method) || !matches(r.ObjectType, object.Type) || !b.named(r.ObjectName, object) {
			continue
		}
		r.Seen++
		if r.Seen <= r.Skip || rand.Float64() >= r.Probability {
			continue
		}
		r.Hits++
		copied := *r
		return &copied
	}
	return nil
}

func (b *rulebook) named(pattern string, object types.ManagedObjectReference) bool {
	if matches(pattern, "") {
		return true
	}
	entity, ok := b.registry.Get(object).(mo.Entity)
	return ok && entity.Entity().Name == pattern
}
