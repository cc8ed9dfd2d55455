package plane

import "fmt"

var verbs = [...]string{"add service", "edit service", "delete service", "add real server", "edit real server", "delete real server"}

// String is the verb in words, for errors and logs.
func (v Verb) String() string {
	if int(v) < len(verbs) {
		return verbs[v]
	}
	return fmt.Sprintf("Verb(%d)", uint8(v))
}

// String names the step and its object: delete real server 10.0.8.12:80 of [10.0.8.9]:tcp:80.
func (op Op) String() string {
	if op.Verb >= AddReal {
		return fmt.Sprintf("%s %s of %s", op.Verb, op.Real.Addr, op.Service.ServiceKey)
	}
	return fmt.Sprintf("%s %s", op.Verb, op.Service.ServiceKey)
}
