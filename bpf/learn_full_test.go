package bpf

import (
	"bytes"
	"net/netip"
	"testing"
)

// toldScene is a scene of FULLNAT in which nothing has begun here: the connection of its client is at another director, from a local
// end that was chosen there.
func toldScene(t *testing.T, v6, proxy bool) scene {
	t.Helper()
	s := proxied(t, v6)
	if !proxy {
		e := get[LbReal](s.rig, s.Reals, s.real)
		e.Flags &^= uint8(LbRealFlagREAL_PROXY)
		s.put(s.Reals, s.real, e)
	}
	s.forgetAll()
	if v6 {
		s.pushOut(s.client.Addr())
	}
	s.local = netip.AddrPortFrom(s.local.Addr(), 31000)
	return s
}

// told is the scene's connection, last used so many seconds ago.
func (s scene) told(state int, flags LbConnFlag, idle uint32) LbLearned {
	l := told(netip.AddrPortFrom(client.Addr(), s.client.Port()), s.real, state, flags)
	l.LocalPort, l.Idle = port2(s.local.Port()), idle*ticksPerSecond+1
	if s.client.Addr().Is6() {
		from, to := addr6(s.client.Addr()), addr6(s.vip.Addr())
		copy(l.Addr[:4], from[:])
		copy(l.Addr[4:], to[:])
		l.Kind = uint8(LbConnKindKIND_IPV6)
	}
	return l
}

// learned tells, and holds what comes of it.
func (s scene) learned(l LbLearned, want LbLearnOutcome) LbLearned {
	s.Helper()
	got := s.learn(l)[0]
	if LbLearnOutcome(got.Outcome) != want {
		s.Errorf("outcome %d, want %d: %+v", got.Outcome, want, got)
	}
	return got
}

// goesOn holds that both sides of the connection hear each other, through its local end: the way back is that by which its client's
// packet came, as no routing table has one here.
func (s scene) goesOn(t *testing.T, what string) {
	t.Helper()
	in, out := frame{flags: ack, payload: []byte("GET / HTTP/1.1\r\n\r\n")}, frame{flags: ack, payload: []byte("odd")}
	s.sends(t, what+": its client", s.says(in, isn+1, 7001), s.hears(in, isn+1, 7001), LbReasonFORWARD_HIT)
	s.sends(t, what+": its real server", s.answers(out, 7001, isn+19), s.gets(out, 7001, isn+19), LbReasonFORWARD_REPLY)
}

func TestALearnedConnectionOfFullNATGoesOnFromItsLocalEnd(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		s := toldScene(t, v6, false)
		first := s.learned(s.told(established, 0, 5), LbLearnOutcomeLEARN_NEW)
		if n := len(s.conns()); n != 2 || s.counts(s.real) != [3]uint32{1, 0, 0} {
			t.Errorf("%d lines, want the connection and its way back; counts %v", n, s.counts(s.real))
		}
		for range 2 {
			s.goesOn(t, "learned")
			s.travel(59) // the way back is looked at once a minute
			s.sweep()
		}
		s.checkTable()
		again := s.learned(s.told(timeWait, LbConnFlagCONN_INACTIVE, 0), LbLearnOutcomeLEARN_AGAIN)
		if again.Line != first.Line || again.Generation != first.Generation || s.counts(s.real) != [3]uint32{0, 1, 0} {
			t.Errorf("%+v, then %+v, counts %v", first, again, s.counts(s.real))
		}
		s.travel(121)
		s.sweep()
		s.travel(61)
		s.sweep()
		if n := len(s.conns()); n != 0 || s.counts(s.real) != [3]uint32{} {
			t.Errorf("%d lines are left, counts %v", n, s.counts(s.real))
		}
		s.learned(s.told(established, 0, 0), LbLearnOutcomeLEARN_NEW)
		if freed := s.order(s.Forget, LbOrder{Real: s.real}); freed != 2 || len(s.conns()) != 0 {
			t.Errorf("%d lines forgotten, %d left", freed, len(s.conns()))
		}
	})
}

// TestALearnedConnectionThatIsEstablishedAssuresNothing: of IPv6, what stands where others have their template is the line for its replies.
func TestALearnedConnectionThatIsEstablishedAssuresNothing(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		s := toldScene(t, v6, false)
		s.learned(s.told(synRecv, 0, 0), LbLearnOutcomeLEARN_NEW)
		s.goesOn(t, "its last ACK")
		if s.counts(s.real) != [3]uint32{1, 0, 0} {
			t.Errorf("counts %v", s.counts(s.real))
		}
		for _, c := range s.conns() {
			if c.Life>>16&uint64(LbConnFlagCONN_ASSURED) != 0 {
				t.Errorf("%+v is assured", c)
			}
		}
		s.checkTable()
	})
}

// TestWhatWasToldOfTheProxyHeader: both sides see numbers that fit, whether the real server has the header already or not.
func TestWhatWasToldOfTheProxyHeader(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		s := toldScene(t, v6, true)
		n := uint32(len(s.header))
		get := []byte("GET / HTTP/1.1\r\n\r\n")
		tell := func(state LbProxy, initial uint32, want LbLearnOutcome) {
			t.Helper()
			l := s.told(established, 0, 0)
			l.Proxy, l.Initial = uint8(state), initial
			s.learned(l, want)
		}
		data := func(what string, want []byte, seq uint32) {
			t.Helper()
			s.sends(t, what, s.says(frame{flags: ack, payload: get}, isn+1, 7001), s.hears(frame{flags: ack, payload: want}, seq, 7001), LbReasonFORWARD_HIT)
		}
		tell(LbProxyPROXY_NONE, 0, LbLearnOutcomeLEARN_NEW)
		data("the answer was not seen", get, isn+1)
		tell(LbProxyPROXY_DUE, isn, LbLearnOutcomeLEARN_AGAIN)
		data("not acknowledged", s.behind(string(get)), isn+1)
		tell(LbProxyPROXY_DONE, isn, LbLearnOutcomeLEARN_AGAIN)
		data("acknowledged", get, isn+1+n)
		tell(LbProxyPROXY_DUE, isn, LbLearnOutcomeLEARN_AGAIN)
		data("more is known here", get, isn+1+n)
		tell(LbProxyPROXY_NONE, 0, LbLearnOutcomeLEARN_AGAIN)
		data("still", get, isn+1+n)
		s.sends(t, "the answer", s.answers(frame{flags: ack}, 7001, isn+1+n+18), s.gets(frame{flags: ack}, 7001, isn+1+18), LbReasonFORWARD_REPLY)
		s.sends(t, "what follows", s.says(frame{flags: ack, payload: get}, isn+1+18, 7001), s.hears(frame{flags: ack, payload: get}, isn+1+18+n, 7001), LbReasonFORWARD_HIT)
		tell(LbProxyPROXY_DUE, isn+1000, LbLearnOutcomeLEARN_AGAIN) // another one of the same ports, which the real server has accepted
		s.sends(t, "its first", s.says(frame{flags: ack}, isn+1001, 7001), s.hears(frame{flags: ack, payload: s.header}, isn+1001, 7001), LbReasonFORWARD_HIT)

		s.forgetAll()
		tell(LbProxyPROXY_DONE, isn, LbLearnOutcomeLEARN_NEW)
		data("learned so", get, isn+1+n)
		s.forgetAll()
		tell(LbProxyPROXY_DUE, isn, LbLearnOutcomeLEARN_NEW)
		data("learned before", s.behind(string(get)), isn+1)
		s.sends(t, "acknowledged here", s.answers(frame{flags: ack}, 7001, isn+1+n), s.gets(frame{flags: ack}, 7001, isn+1), LbReasonFORWARD_REPLY)
		data("then", get, isn+1+n)
		s.checkTable()
	})
}

// TestALocalEndIsOfOneConnection: of two that have the same one, that which was used later.
func TestALocalEndIsOfOneConnection(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		s := toldScene(t, v6, false)
		_, out, _ := s.run(s.says(frame{flags: syn}, isn, 0)) // here, from an end of our own
		mine := s
		mine.local = localEnd(t, out)
		mine.goesOn(t, "ours")
		other := s
		other.client, other.local = netip.AddrPortFrom(s.client.Addr(), s.client.Port()+1), mine.local
		s.travel(10)
		before := s.conns()
		other.learned(other.told(established, 0, 20), LbLearnOutcomeLEARN_TAKEN)
		if after := s.conns(); len(after) != len(before) {
			t.Errorf("%d lines, before %d", len(after), len(before))
		}
		for n, c := range s.conns() {
			if c != before[n] {
				t.Errorf("line %d became %+v", n, c)
			}
		}
		mine.goesOn(t, "ours, used later")
		s.travel(10)
		other.learned(other.told(established, 0, 5), LbLearnOutcomeLEARN_NEW)
		other.goesOn(t, "theirs, used later")
		s.sweep()
		if s.counts(s.real) != [3]uint32{1, 0, 0} || len(s.conns()) != 2 {
			t.Errorf("counts %v, %d lines: the other one has ended", s.counts(s.real), len(s.conns()))
		}
		other.learned(other.told(established, 0, 30), LbLearnOutcomeLEARN_STALE)
		s.travel(1000)
		mine.learned(mine.told(established, 0, 0), LbLearnOutcomeLEARN_NEW) // what has it has expired
		mine.goesOn(t, "ours, told")
		s.checkTable()
	})
}

// TestAConnectionThatIsToldWithAnotherLocalEnd: the real server knows it by that of the director that it was used at later.
func TestAConnectionThatIsToldWithAnotherLocalEnd(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		s := toldScene(t, v6, false)
		_, out, _ := s.run(s.says(frame{flags: syn}, isn, 0))
		mine := s
		mine.local = localEnd(t, out)
		s.travel(10)
		s.learned(s.told(established, 0, 20), LbLearnOutcomeLEARN_STALE)
		mine.goesOn(t, "ours")
		s.travel(10)
		s.learned(s.told(timeWait, LbConnFlagCONN_INACTIVE, 5), LbLearnOutcomeLEARN_STALE)
		mine.goesOn(t, "ours, after the end of another")
		s.travel(10)
		s.learned(s.told(established, 0, 5), LbLearnOutcomeLEARN_NEW)
		s.goesOn(t, "theirs")
		s.run(mine.answers(frame{flags: ack}, 7001, isn+1))
		if _, _, why := s.run(mine.answers(frame{flags: ack}, 7001, isn+1)); why != LbReasonPASS_NOT_SERVICE {
			t.Errorf("to the end that it had: %s", why.name())
		}
		s.travel(61)
		s.sweep()
		if s.counts(s.real) != [3]uint32{1, 0, 0} || len(s.conns()) != 2 {
			t.Errorf("counts %v, %d lines", s.counts(s.real), len(s.conns()))
		}
		s.checkTable()
	})
}

// TestALearnedConnectionOfFullNATBeginsAnew: by a SYN of the same ports, with an end of its own.
func TestALearnedConnectionOfFullNATBeginsAnew(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		s := toldScene(t, v6, false)
		s.learned(s.told(established, 0, 0), LbLearnOutcomeLEARN_NEW)
		s.run(s.answers(frame{flags: rst}, 7001, isn+1))
		_, out, why := s.run(s.says(frame{flags: syn}, isn+5000, 0))
		if why != LbReasonFORWARD_NEW {
			t.Fatal(why.name())
		}
		again := s
		if again.local = localEnd(t, out); again.local == s.local {
			t.Errorf("both have %v", s.local)
		}
		if _, _, why := s.run(again.answers(frame{flags: syn | ack}, 7000, isn+5001)); why != LbReasonFORWARD_REPLY {
			t.Error(why.name())
		}
		s.travel(30)
		s.sweep()
		if s.counts(s.real) != [3]uint32{1, 0, 0} {
			t.Errorf("counts %v", s.counts(s.real))
		}
		s.checkTable()
	})
}

// TestALocalEndThatChangesHands: of a connection that was made anew, of one that has ended, and of one that is told with another's.
func TestALocalEndThatChangesHands(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		s := toldScene(t, v6, false)
		of := func(client uint16, local uint16) scene {
			one := s
			one.client, one.local = netip.AddrPortFrom(s.client.Addr(), s.client.Port()+client), netip.AddrPortFrom(s.local.Addr(), local)
			return one
		}
		tell := func(what string, one scene) {
			t.Helper()
			one.learned(one.told(established, 0, 0), LbLearnOutcomeLEARN_NEW)
			one.goesOn(t, what)
		}
		renew := func() {
			t.Helper()
			s.run(s.answers(frame{flags: rst}, 7001, isn+1))
			if _, _, why := s.run(s.says(frame{flags: syn}, isn+5000, 0)); why != LbReasonFORWARD_NEW {
				t.Fatal(why.name())
			}
		}
		tell("told", of(0, 31000))
		renew()
		tell("as it was before it was made anew", of(0, 31000))
		renew()
		tell("with the end that another one had", of(1, 31000))
		tell("a third", of(2, 31001))
		tell("with the third one's end", of(1, 31001))
		if !v6 {
			for _, c := range s.conns() {
				if c.Kind&uint8(LbConnKindKIND_RETURN) == 0 && c.from() == s.client.Port()+1 {
					s.edit(c, func(c *LbConn) { c.Addr[LbSpareSPARE_LOCAL+1] ^= 0x100 }) // its port
				}
			}
			tell("by a line for replies of which it did not know", of(1, 31001))
		}
		s.checkTable()
	})
}

// TestALineThatIsNoMoreItsWayBack: of IPv6. It was taken for another one at the moment of a packet: then an end of our own is chosen.
// The client's way back, which stands in an entry without one, is learned all the same.
func TestALineThatIsNoMoreItsWayBack(t *testing.T) {
	for what, change := range map[string]func(line uint32, c, back *LbConn){
		"another connection's":      func(_ uint32, _, back *LbConn) { back.Control ^= 1 },
		"of a connection before it": func(_ uint32, _, back *LbConn) { back.Packets-- },
		"not of replies":            func(line uint32, c, _ *LbConn) { c.Control = line + 1 },
	} {
		t.Run(what, func(t *testing.T) {
			s := toldScene(t, true, false)
			s.put(s.Clients6, LbClientKey{Addr: addr6(s.client.Addr())}, LbClient{})
			line := s.learned(s.told(established, 0, 0), LbLearnOutcomeLEARN_NEW).Line
			all := s.conns()
			c := all[line]
			back := all[c.Control-1]
			was, wasBack := c, back
			change(line, &c, &back)
			s.edit(was, func(e *LbConn) { *e = c })
			s.edit(wasBack, func(e *LbConn) { *e = back })
			_, out, why := s.run(s.says(frame{flags: ack}, isn+1, 7001))
			mine := s
			if mine.local = localEnd(t, out); why != LbReasonFORWARD_HIT || mine.local == s.local {
				t.Errorf("%s, from %v", why.name(), mine.local)
			}
			mine.goesOn(t, "from an end of our own")
		})
	}
}

// TestNoRoomForAnotherLocalEnd: then the connection keeps that which it has.
func TestNoRoomForAnotherLocalEnd(t *testing.T) {
	for _, connections := range []int{24, 32} { // of two lines each: three quarters of the region, and all of it
		r, _, real := fullnat(t, tcpProto, 1, 2)
		for i := range connections {
			r.want(frame{flags: syn, from: clientNumber(i)}, LbReasonFORWARD_NEW)
		}
		local := localOf(t, r.want(frame{flags: ack, from: clientNumber(0)}, LbReasonFORWARD_HIT))
		l := told(clientNumber(0), real, established, 0)
		l.LocalPort, l.Idle = port2(40000), 1 // a port that nobody here chooses
		if got := r.learn(l)[0]; got.Outcome != uint16(LbLearnOutcomeLEARN_NO_ROOM) {
			t.Errorf("%d connections: %+v", connections, got)
		}
		if again := localOf(t, r.want(frame{flags: ack, from: clientNumber(0)}, LbReasonFORWARD_HIT)); again != local {
			t.Errorf("%v, and then %v", local, again)
		}
		r.want(replyTo(real, local, ack), LbReasonFORWARD_REPLY)
		r.checkTable()
	}
}

// TestFullNATIsLearnedWithRoomLeft: both of its lines count; one region has all of them, so that they get in each other's way.
func TestFullNATIsLearnedWithRoomLeft(t *testing.T) {
	r, _, real := fullnat(t, tcpProto, 1, 2)
	outcomes := map[LbLearnOutcome]int{}
	lesson := func(i int) LbLearned {
		l := told(clientNumber(i), real, established, 0)
		l.LocalPort, l.Local, l.Idle = port2(uint16(20000+i/2)), uint16(i%2), 1
		return l
	}
	for round := range 3 {
		clear(outcomes)
		for i := range 40 {
			outcomes[LbLearnOutcome(r.learn(lesson(i))[0].Outcome)]++
		}
		new, again := 24, 0
		if round == 1 {
			new, again = 0, 24
		}
		if outcomes[LbLearnOutcomeLEARN_NEW] != new || outcomes[LbLearnOutcomeLEARN_AGAIN] != again || outcomes[LbLearnOutcomeLEARN_NO_ROOM] != 16 {
			t.Errorf("%v", outcomes)
		}
		if r.counts(real) != [3]uint32{24, 0, 0} {
			t.Errorf("counts %v", r.counts(real))
		}
		for i := range 24 {
			local := netip.AddrPortFrom(local0, uint16(20000+i/2))
			if i%2 == 1 {
				local = netip.AddrPortFrom(local0.Next(), local.Port())
			}
			if got := localOf(t, r.want(frame{flags: ack, from: clientNumber(i)}, LbReasonFORWARD_HIT)); got != local {
				t.Errorf("%d comes from %v, want %v", i, got, local)
			}
			in := replyTo(real, local, ack)
			want := in
			want.from, want.to, want.src, want.dst, want.ttl = vip, clientNumber(i), ourMAC, routerMAC, 63
			if out := r.want(in, LbReasonFORWARD_REPLY); !bytes.Equal(out, want.bytes()) {
				t.Errorf("%d: % x", i, out)
			}
		}
		r.checkTable()
		if round == 1 {
			r.travel(901) // all of them end, and their lines are taken again before anybody swept
		}
	}
	r.forgetAll()
	if n := r.liveHead(0); n != 0 || r.counts(real) != [3]uint32{} {
		t.Errorf("%d live, counts %v", n, r.counts(real))
	}
}

// TestFullNATIsLearnedUnderBothLocks: and none is kept when the other is not had.
func TestFullNATIsLearnedUnderBothLocks(t *testing.T) {
	s := toldScene(t, false, false)
	for held := range uint32(4) {
		s.put(s.RegionHeads, held, LbRegionHead{Lock: 1})
		got := LbLearnOutcome(s.learn(s.told(established, 0, 0))[0].Outcome)
		s.put(s.RegionHeads, held, LbRegionHead{})
		if got == LbLearnOutcomeLEARN_BUSY && len(s.conns()) != 0 {
			t.Errorf("region %d was held, and there are %d lines", held, len(s.conns()))
		}
		if got != LbLearnOutcomeLEARN_BUSY {
			s.forgetAll()
		}
	}
	s.learned(s.told(established, 0, 0), LbLearnOutcomeLEARN_NEW)
	s.goesOn(t, "learned")
	s.checkTable()
}

// TestAnAnswerIsAwaitedToo: the host would reset the real server's connection, of which another director may be about to tell.
func TestAnAnswerIsAwaitedToo(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		s := toldScene(t, v6, false)
		f := get[LbFilter](s.rig, s.SourceFilter, 0)
		f.May[FilterIndex(s.local.Addr())] = 1
		s.put(s.SourceFilter, 0, f)
		reason := func(f frame) LbReason { _, _, why := s.run(s.answers(f, 7001, isn+1)); return why }
		if why := reason(frame{flags: ack}); why != LbReasonPASS_NOT_SERVICE {
			t.Errorf("nobody is awaited: %s", why.name())
		}
		s.tune(func(t *LbTunables) { t.Patience = s.tick() + 3*ticksPerSecond })
		if why := reason(frame{flags: ack}); why != LbReasonDROP_AWAITED {
			t.Error(why.name())
		}
		if why := reason(frame{flags: syn}); why != LbReasonPASS_NOT_SERVICE {
			t.Errorf("a connection to the host begins: %s", why.name())
		}
		was := s.local
		s.local = netip.AddrPortFrom(was.Addr(), 40000)
		if why := reason(frame{flags: ack}); why != LbReasonPASS_NOT_SERVICE {
			t.Errorf("the host's own: %s", why.name())
		}
		s.local = was
		s.learned(s.told(established, 0, 0), LbLearnOutcomeLEARN_NEW)
		s.goesOn(t, "learned")
		s.forgetAll()
		s.travel(4)
		if why := reason(frame{flags: ack}); why != LbReasonPASS_NOT_SERVICE {
			t.Errorf("no longer: %s", why.name())
		}
	})
}

// TestAnEndThatAnotherHasIsNotOfAConnectionThatIsKnown: it keeps the one that it has, unless the other has ended.
func TestAnEndThatAnotherHasIsNotOfAConnectionThatIsKnown(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		s := toldScene(t, v6, false)
		_, out, _ := s.run(s.says(frame{flags: syn}, isn, 0)) // here, from an end of our own
		mine, other := s, s
		mine.local = localEnd(t, out)
		other.client = netip.AddrPortFrom(s.client.Addr(), s.client.Port()+1)
		s.travel(10)
		other.learned(other.told(established, 0, 0), LbLearnOutcomeLEARN_NEW)
		other.goesOn(t, "the other")
		s.learned(s.told(established, 0, 5), LbLearnOutcomeLEARN_TAKEN) // as if it had the other's
		mine.goesOn(t, "ours")
		other.goesOn(t, "the other, still")
		if n := len(s.conns()); n != 4 || s.counts(s.real) != [3]uint32{2, 0, 0} {
			t.Errorf("%d lines, counts %v", n, s.counts(s.real))
		}
	})
}

// TestAnEndOfAnEarlierConnectionIsToldOfItsSuccessor: the line for the replies leads to the one that ended, and is taken.
func TestAnEndOfAnEarlierConnectionIsToldOfItsSuccessor(t *testing.T) {
	both(t, func(t *testing.T, v6 bool) {
		s := toldScene(t, v6, false)
		s.learned(s.told(established, 0, 0), LbLearnOutcomeLEARN_NEW)
		s.run(s.answers(frame{flags: rst}, 7001, isn+1))
		if _, _, why := s.run(s.says(frame{flags: syn}, isn+5000, 0)); why != LbReasonFORWARD_NEW {
			t.Fatal(why.name())
		}
		s.learned(s.told(established, 0, 0), LbLearnOutcomeLEARN_NEW)
		s.goesOn(t, "told with its old end")
		if s.counts(s.real) != [3]uint32{1, 0, 0} {
			t.Errorf("counts %v", s.counts(s.real))
		}
	})
}

// TestAWayBackNeedsRoomToo: of the region that it is to lie in a quarter is left free, as of the connection's own.
func TestAWayBackNeedsRoomToo(t *testing.T) {
	r, _, real := fullnat(t, tcpProto, 2, 1)
	var lesson LbLearned
	var region uint32
	for i := 0; ; i++ { // until the two lie in different regions
		r.forgetAll()
		lesson = told(clientNumber(i), real, established, 0)
		lesson.LocalPort, lesson.Idle = port2(20000), 1
		own := r.learn(lesson)[0].Line / uint32(LbNumberREGION_LINES)
		region = 1 - own
		if get[LbRegionHead](r, r.RegionHeads, region).Live == 1 {
			break
		}
	}
	for _, live := range []uint32{48, 64} {
		r.forgetAll()
		var full LbRegion
		for i := range live {
			full.Line[i] = LbConn{Life: uint64(LbPhasePHASE_LIVE), Expires: r.tick() + 1000, Real: real, Proto: tcpProto, Cport: uint16(i), Vport: 1}
		}
		r.put(r.Regions, region, full)
		r.put(r.RegionHeads, region, LbRegionHead{Live: live})
		if got := r.learn(lesson)[0]; got.Outcome != uint16(LbLearnOutcomeLEARN_NO_ROOM) || len(r.conns()) != int(live) {
			t.Errorf("%d lines are taken: outcome %d, then %d", live, got.Outcome, len(r.conns()))
		}
		r.put(r.Regions, region, LbRegion{})
		r.put(r.RegionHeads, region, LbRegionHead{})
	}
	if got := r.learn(lesson)[0]; got.Outcome != uint16(LbLearnOutcomeLEARN_NEW) {
		t.Errorf("outcome %d", got.Outcome)
	}
}
