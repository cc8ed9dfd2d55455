package bpf

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// Many mutants in one object, of which a constant says which one is alive: the verifier follows that one alone. Then a mutant costs its
// rows and a load of the programs that it may be in, and no run of clang.

const (
	manyVar     = "VIPD_MUTANTS" // for a child: how many mutants the object has, by what file
	aliveVar    = "mutant"
	aliveMap    = ".rodata." + aliveVar
	aliveSource = "volatile const unsigned int " + aliveVar + " __attribute__((section(\"" + aliveMap + "\"), used)) = 0;\n"
	together    = 40 // mutants of one object: clang has room for so many on the stack
)

// aliveNow is the mutant that a child looks at, of an object that has many.
var aliveNow int

// alive is what such an object needs to have another mutant alive.
type alive struct {
	mutant int
	spec   *ebpf.CollectionSpec // nil: there are no mutants
	maps   map[string]*ebpf.Map // all but that of the constant
	plain  LbPrograms           // with no mutant alive
	within map[string]map[int]bool
}

var (
	kernelTypes = btf.NewCache()
	oneMutant   = regexp.MustCompile(`\b` + aliveVar + ` == (\d+)`)
)

// loadAlive loads an object that has many mutants, none of them alive.
func (r *rig) loadAlive(spec *ebpf.CollectionSpec) (o loaded) {
	r.Helper()
	all, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{Cache: kernelTypes})
	if err != nil {
		r.Fatalf("load: %+v", err)
	}
	defer all.Close()
	o.alive = alive{spec: spec.Copy(), maps: map[string]*ebpf.Map{}, within: map[string]map[int]bool{}}
	for name, m := range all.Maps {
		if name == aliveMap {
			continue
		}
		if o.maps[name], err = m.Clone(); err != nil {
			r.Fatal(err)
		}
	}
	if err := all.Assign(&o.Objects); err != nil {
		r.Fatal(err)
	}
	o.plain = o.LbPrograms
	for name, p := range o.spec.Programs {
		o.within[name] = map[int]bool{}
		for _, i := range p.Instructions {
			if i.Source() == nil {
				continue
			}
			for _, m := range oneMutant.FindAllStringSubmatch(i.Source().String(), -1) {
				n, _ := strconv.Atoi(m[1])
				o.within[name][n] = true
			}
		}
	}
	return o
}

// liven gives the object the mutant that is looked at now: the programs that it is in anew, with the maps that they have had.
func (r *rig) liven(o *loaded) {
	r.Helper()
	if o.spec == nil || o.mutant == aliveNow {
		return
	}
	programs, plain := reflect.ValueOf(&o.LbPrograms).Elem(), reflect.ValueOf(o.plain)
	for i := range programs.NumField() {
		if p := programs.Field(i).Interface().(*ebpf.Program); p != plain.Field(i).Interface() {
			p.Close()
		}
	}
	o.LbPrograms, o.mutant = o.plain, 0
	if aliveNow == 0 {
		return
	}
	some := *o.spec
	some.Programs = maps.Clone(some.Programs)
	maps.DeleteFunc(some.Programs, func(name string, _ *ebpf.ProgramSpec) bool { return !o.within[name][aliveNow] })
	if len(some.Programs) == 0 {
		r.Fatalf("mutant %d is in no program", aliveNow)
	}
	if err := some.Variables[aliveVar].Set(uint32(aliveNow)); err != nil {
		r.Fatal(err)
	}
	all, err := ebpf.NewCollectionWithOptions(&some, ebpf.CollectionOptions{MapReplacements: o.maps, Cache: kernelTypes,
		Programs: ebpf.ProgramOptions{LogDisabled: true}})
	if err != nil {
		r.Fatalf("load: %v", err)
	}
	defer all.Close()
	o.mutant = aliveNow
	for i := range programs.NumField() {
		if p := all.DetachProgram(programs.Type().Field(i).Tag.Get("ebpf")); p != nil {
			programs.Field(i).Set(reflect.ValueOf(p))
		}
	}
}

// firstTests are the rows that are most likely to notice a mistake in a header, the likeliest first, and traces to end with.
var firstTests = map[string]struct {
	rows   []func(*testing.T)
	traces string
}{
	"schedule.h": {rows: []func(*testing.T){TestWeightedPhaseAfterAllWereOverloaded, TestWeightedPicksNobodyWithoutWeights, TestWhatStandsBehindThePoolIsNotPicked, TestHeaviestIsOfThePool,
		TestWhoWaitsForAPool, TestHashSchedulersOfIPv6, TestHashesNeedNoTable, TestFullRegion, TestManyMembers}, traces: "^(rr|wrr|switch)-"},
	"least.h": {rows: []func(*testing.T){TestActiveConnectionCountsMoreThan256Inactive, TestTheLeastIsOfThePool, TestNeverQueueTakesTheFirstIdleOne, TestManyMembers}, traces: "^(lc|wlc|sed|nq|fo|ovf)-"},
	"twos":    {rows: []func(*testing.T){TestTwosIsTheBetterOfTwoThatAreDrawn, TestTwosOfMany, TestTwosWaitsForTheSecond}},
	"hash.h":  {rows: []func(*testing.T){TestHashSchedulersOfIPv6, TestHashesPickNobodyWhoIsNotFit, TestHashesNeedNoTable}, traces: "^(sh|dh|mh)-"},
	"lblc.h": {rows: []func(*testing.T){TestWhatIsRememberedOfADestination, TestEachDestinationIsRememberedByItself, TestWhoHasLessThanHalfIsFoundInAnyPool,
		TestADestinationIsRememberedWhateverCameBetween}, traces: "^lblc"},
	"pool.h": {rows: []func(*testing.T){TestWeightedPicksNobodyWithoutWeights, TestNobodyAnswers, TestWhatStandsBehindThePoolIsNotPicked, TestWeightedPhaseAfterAllWereOverloaded,
		TestTwosIsTheBetterOfTwoThatAreDrawn}, traces: "^(rr|wrr|wlc)-(w012|w321|thresholds)"},
	"states.h": {rows: []func(*testing.T){TestLivesOfConnections, TestReuse, TestRealServerThatIsGone, TestDispensable, TestSecureTCPIsInForceFromLevelTwo, TestTCPStates, TestAssured, TestDatagramsDoNotAssure, TestFlood}},
	"csum.h": {rows: []func(*testing.T){TestMasqueradedFrame, TestEveryWordOfAnIPv6AddressIsSummed, TestTunnelledFrame, TestNobodyAnswers, TestMasqueradedFrameOfIPv6, TestTunnelsOfIPv6,
		TestAnswersOfIPv6, TestChecksumOfEveryTTL, TestFullNATFrame, TestErrorsReachTheClient, TestErrorsOfIPv6ReachTheClient, TestTunnelsTellTheRoomThatIsLeft, TestMasqueradedChecksums}},
	"crc32c.h": {rows: []func(*testing.T){TestMasqueradedFrameOfIPv6, TestFullNATFrame}},
	"nat.h": {rows: []func(*testing.T){TestMasqueradedFrame, TestMasqueradedFrameOfIPv6, TestLocalRealServer, TestLocalServerUnderNATOfIPv6, TestFragmentsUnderNAT, TestReplyOfIPv6FollowsTheRoutes,
		TestReplyToAClientThatNobodyKnows, TestAClientThatComesByAnotherWay, TestAClientOfAMomentAgo, TestMethodsOfIPv6, TestMethodsInVLANs, TestRepliesInVLANsOfIPv6AndFullNAT, TestMasqueradedChecksums}},
	"service.h": {rows: []func(*testing.T){TestCounters, TestMasqueradedFrameOfIPv6, TestForwardedFrameOfIPv6}},
	"find.h": {rows: []func(*testing.T){TestClassFits, TestFirstClassSaysTheMark, TestOrderOfServices, TestHints, TestMarkWithoutAService, TestTemplateOfAMark, TestTemplateOfAMarkOfIPv6,
		TestTemplateWithoutAPort, TestWhoIsNotScheduled, TestALineHasNothingOfThePacketBefore, TestHostKeepsItsPackets, TestHostKeepsItsPacketsOfIPv6}},
	"pace.h":   {rows: []func(*testing.T){TestSloppy, TestSloppyOfOneProtocol, TestPatience, TestDropPacket, TestFlood, TestFloodOfOthers, TestRateOfAnswers, TestCarryOn}},
	"defend.h": {rows: []func(*testing.T){TestDispensable, TestDispensableTemplates, TestFlood}},
	"conn.h": {rows: []func(*testing.T){TestEntryAsItIsWritten, TestLivesOfConnections, TestReuse, TestLineOfIPv6, TestTableOfBothFamilies, TestTemplateTimer, TestTemplateAsItIsWritten,
		TestClientStaysWithItsServer, TestExpiredEntryCountsAsAbsent, TestClockWraps, TestReplyClearsNoOutput, TestPacketsOfAConnectionAreCountedInIt, TestFullRegion,
		TestARenewedConnectionCountsUntilItsSuccessorIsChosen, TestAssured, TestSweep, TestForget, TestChainsOverTheEndOfARegion, TestReplyAssuresTheTemplate, TestTheLaterUseOfAConnectionHolds,
		TestALearnedConnectionCountsForThresholds, TestTCPStates}},
	"sweep.h": {rows: []func(*testing.T){TestSweep, TestForget, TestSweepOfAPart, TestChainsOverTheEndOfARegion, TestTimerSweepsAlone, TestOrdersNeedTheirFrame, TestBusy, TestTemplateTimer,
		TestExpiredTemplate, TestLineOfIPv6, TestDispensable, TestDispensableTemplates, TestALearnedConnectionCountsForThresholds, TestFullRegion}},
	"mss.h": {rows: []func(*testing.T){TestLargestSegment, TestProxyHeader}},
	"direct.h": {rows: []func(*testing.T){TestTooBig, TestTooFar, TestChecksumOfEveryTTL, TestChecksumOfZero, TestAnswersOfIPv6, TestForwardedFrameOfIPv6, TestMethodsOfIPv6,
		TestLocalRealServer, TestTunnelsTellTheRoomThatIsLeft, TestTunnelsOfIPv6, TestMasqueradedFrameOfIPv6}},
	"tunnel.h": {rows: []func(*testing.T){TestTunnelledFrame, TestTunnelsAsTheKernelHasThem, TestTunnelsOfIPv6, TestATunnelMakesNothingDamagedGood, TestChecksumOfGUEIsNeverZero,
		TestTunnelWithoutPathMTUDiscovery, TestTunnelsTellTheRoomThatIsLeft, TestNoRoomInFront, TestOtherRoadsSumUpWhatHasNoChecksum, TestFirstDatagramWithoutAChecksum}},
	"icmp.h": {rows: []func(*testing.T){TestNobodyAnswers, TestAnswersOfIPv6, TestTooBig, TestTooFar, TestTunnelsTellTheRoomThatIsLeft, TestNobodyIsToldOfFollowingFragments,
		TestErrorsReachTheRealServerWhereverItIs, TestErrorsAboutTunnels, TestErrorsAboutTunnelsOfIPv6, TestAnswersInTwoVLANs}},
	"related.h": {rows: []func(*testing.T){TestErrorsReachTheRealServer, TestErrorsReachTheClient, TestErrorsAboutTunnels, TestErrorsOfNobody, TestErrorsReachTheRealServerWhereverItIs,
		TestErrorsThatCannotReachTheClient, TestErrorsAboutWhatMayBeATunnel, TestWhatTheOtherFamilyHasNoWordFor, TestASizeThatLeavesNoRoom, TestAnErrorOfBeforeFULLNAT, TestErrorsUnderFullNAT,
		TestErrorsInVLANs, TestErrorsAboutWhatHasExpired, TestErrorsAboutAServiceThatIsGone, TestOthersBesideFULLNAT}},
	"related6.h": {rows: []func(*testing.T){TestErrorsOfIPv6ReachTheRealServer, TestErrorsOfIPv6ReachTheClient, TestErrorsAboutTunnelsOfIPv6, TestErrorsOfIPv6OfNobody,
		TestErrorsReachTheRealServerWhereverItIs, TestErrorsThatCannotReachTheClient, TestErrorsAboutWhatMayBeATunnel, TestWhatTheOtherFamilyHasNoWordFor, TestASizeThatLeavesNoRoom,
		TestErrorsUnderFullNAT6, TestErrorsInVLANs, TestErrorsAboutWhatHasExpired, TestErrorsAboutAServiceThatIsGone, TestOthersBesideFULLNAT,
		TestErrorsSayNothingOfTheClientsWay}},
	"open.h": {rows: []func(*testing.T){TestEntryAsItIsWritten, TestTemplateAsItIsWritten, TestLivesOfConnections, TestReuse, TestClientStaysWithItsServer, TestTemplateTimer, TestTemplateKeepsItsTime,
		TestExpiredTemplate, TestTemplateOfAServerThatIsGone, TestFullRegion, TestFullRegionWithTemplate, TestSecondInItsChain, TestExpiredEntryCountsAsAbsent, TestRealServerThatIsGone,
		TestRefusedSYNEndsWhatItWouldHaveMadeAnew, TestSYNOfAConnectionWhoseServerIsGoneLeavesItsTemplate, TestSYNOfAClosedConnectionLeavesItsTemplateAlone, TestQuiescedServerKeepsItsPersistentClients,
		TestARenewedConnectionCountsUntilItsSuccessorIsChosen, TestADatagramAloneCountsForThresholds, TestOnePacketIsForDatagrams, TestHashesNeedNoTable, TestSloppy, TestSloppyConnectionAssures, TestPatience,
		TestFlood, TestFloodOfOthers, TestCarryOn, TestBusy, TestTemplateOfAMark, TestTemplateOfAMarkOfIPv6, TestTemplateWithoutAPort, TestWhoIsNotScheduled, TestHostKeepsItsPackets,
		TestHostKeepsItsPacketsOfIPv6, TestTableOfBothFamilies, TestLineOfIPv6, TestACallStaysWithItsServer, TestACallIsKnownByAllOfItsNumber, TestACallWhoseServerIsGone, TestMasqueradedFrame,
		TestOtherDirector, TestAnOldConnectionToADirectorIsNoLoop, TestForget, TestCounters, TestAnotherCPUWasFaster, TestWhatIsRefusedEndsNothingThatLives,
		TestAnExpiredConnectionCountsForNobody, TestALimitThatIsTakenAway, TestTemplateOfAMarkTakesALineThatHasExpired, TestOnePacketHoldsNoTemplate,
		TestSYNOfAPersistentClientOfWeightZero}, traces: "thresholds"},
	"reply.h": {rows: []func(*testing.T){TestReplyFrame, TestMasqueradedSCTP, TestNoReply, TestReplyOfARemovedServer, TestReplyClearsNoOutput, TestReplyAssuresTheTemplate, TestReplyOfSCTPAssuresNothing,
		TestReplyFollowsTheRoutes, TestReplyOfTwoConnectionsWithTheSameEnds, TestReplyInAFullRegion, TestRepliesOfEveryLengthPass, TestFollowingFragmentOfAReplyWhoseWayIsGone,
		TestFragmentsOfAServersOwnRequest, TestFragmentsUnderNAT, TestFragmentsUnderFullNAT, TestReplyOfNobodyUnderFullNAT, TestRepliesInVLANs, TestRepliesInVLANsOfIPv6AndFullNAT, TestNoReplyOfIPv6,
		TestReplyOfIPv6FollowsTheRoutes, TestLargestSegment, TestErrorsReachTheClient, TestFragmentsOfRepliesInVLANs}},
	"reply6.h": {rows: []func(*testing.T){TestMasqueradedFrameOfIPv6, TestStatesUnderNATOfIPv6, TestNoReplyOfIPv6, TestReplyOfIPv6FollowsTheRoutes, TestReplyToAClientThatNobodyKnows,
		TestAClientThatComesByAnotherWay, TestFragmentsUnderNAT, TestFragmentsUnderFullNAT6, TestRepliesInVLANsOfIPv6AndFullNAT, TestReplyOfTwoConnectionsWithTheSameEnds, TestReplyAssuresTheTemplate,
		TestReplyOfSCTPAssuresNothing, TestLargestSegment, TestErrorsOfIPv6ReachTheClient,
		TestFragmentsOfRepliesInVLANs}},
	"proxy.h": {rows: []func(*testing.T){TestProxyHeader, TestProxyOptions, TestProxyOfANewConnection, TestProxyHeaderThatDoesNotFit, TestProxyHeaderBehindNoHeader, TestProxyLeavesAlone,
		TestProxyOptionsThatAreWrong, TestProxyHeaderHasNoRoom, TestFragmentsBehindTheProxyHeader, TestProxyIsForTCP, TestWhatWasToldOfTheProxyHeader}},
	"fragment.h": {rows: []func(*testing.T){TestFragments, TestFragmentsUnderNAT, TestFragmentsUnderFullNAT, TestFragmentsUnderFullNAT6, TestFragmentsWithoutAFirstThatWent, TestFragmentsBehindTheProxyHeader,
		TestFragmentsOfAServersOwnRequest, TestFollowingFragmentOfAReplyWhoseWayIsGone, TestForwardedFrameOfIPv6, TestNobodyIsToldOfFollowingFragments}},
	"ipv6.h": {rows: []func(*testing.T){TestForwardedFrameOfIPv6, TestLineOfIPv6, TestHostKeepsItsPacketsOfIPv6, TestTableOfBothFamilies, TestFullRegionOfIPv6, TestFragments, TestAnswersOfIPv6,
		TestAssociationBehindMoreHeadersThanAreRead, TestNoRoadIsTheHosts, TestNoReplyOfIPv6, TestErrorsOfIPv6OfNobody, TestErrorsOfIPv6ReachTheClient, TestSecondInItsChain, TestExpiredEntryCountsAsAbsent, TestHashesNeedNoTable}},
	"vlan.h": {rows: []func(*testing.T){TestFramesInVLANs, TestAnotherAddressOfOurs, TestRepliesInVLANs, TestWhatIsNotForAServiceInAVLAN, TestTaggedRuntsPass, TestMethodsInVLANs,
		TestRepliesInVLANsOfIPv6AndFullNAT, TestToldInAVLANOfIPv6, TestHostKeepsItsPackets, TestFragmentsOfRepliesInVLANs, TestErrorsInVLANs,
		TestAnswersInTwoVLANs, TestNoRoomInFront}},
	"sip.h": {rows: []func(*testing.T){TestCallsAreThoseOfIPVS, TestACallStaysWithItsServer, TestAMessageLargerThanIsRead, TestLinesThatGoOn, TestACallWhoseServerIsGone, TestACallIsKnownByAllOfItsNumber}},
	"learn.h": {rows: []func(*testing.T){TestNothingIsLearnedOfARealServerThatCannotBe, TestALearnedConnectionIsFollowedAsIfItHadBegunHere, TestWhatIsToldAgainChangesTheSameLine,
		TestAConnectionThatBeganHereStaysOfHereWhenItIsTold, TestAnotherRealServerReplacesUnlessItIsTheEnd, TestALearnedTemplateKeepsItsClientAtItsServer, TestLearnedConnectionsOfIPv6,
		TestAnOrderHoldsAsManyLessonsAsItMay, TestLearningLeavesRoom, TestALearnedConnectionWaitsForNoLock, TestALearnedConnectionCountsForThresholds, TestTheLaterUseOfAConnectionHolds,
		TestTheLaterUseOfATemplateHolds, TestALearnedConnectionOfFullNATGoesOnFromItsLocalEnd, TestALearnedConnectionThatIsEstablishedAssuresNothing, TestWhatWasToldOfTheProxyHeader,
		TestALocalEndIsOfOneConnection, TestAConnectionThatIsToldWithAnotherLocalEnd, TestALearnedConnectionOfFullNATBeginsAnew, TestALocalEndThatChangesHands, TestALineThatIsNoMoreItsWayBack,
		TestNoRoomForAnotherLocalEnd, TestFullNATIsLearnedWithRoomLeft, TestFullNATIsLearnedUnderBothLocks, TestAnAnswerIsAwaitedToo, TestAnEndThatAnotherHasIsNotOfAConnectionThatIsKnown,
		TestAnEndOfAnEarlierConnectionIsToldOfItsSuccessor, TestAWayBackNeedsRoomToo}},
}

var (
	condition   = regexp.MustCompile(`^(\t+(?:\} else )?if \()(.*)(\)(?: \{)?)$`)
	returning   = regexp.MustCompile(`^(\t+return )(.*)(;)$`)
	loop        = regexp.MustCompile(`^(\t+for \([^;]*; )([^;]*)(; [^;]*\)(?: \{)?)$`)
	declaration = regexp.MustCompile(`^\t+(?:const )?(?:struct \w+|enum \w+|__\w+|int) \*?\w+ = `)
	statement   = regexp.MustCompile(`^\t+([^{}]*|[\w>.\[\]()&*-]+ = \(struct \w+\)\{.*\});$`)
)

// rowsOf is the key of firstTests for a mutant.
func rowsOf(m mutant) string {
	if m.file == "least.h" && m.line > twosLine {
		return "twos"
	}
	return m.file
}

// twosLine is where twos begins in least.h.
const twosLine = 97

// either is the line as it was or, when the variable has its number, one of the mutants.
func either(over, was string, numbers []int, is []string) (string, bool) {
	was, _, _ = strings.Cut(was, "/*")
	was = strings.TrimRight(was, " \t")
	for _, shape := range []*regexp.Regexp{condition, returning, loop} {
		w := shape.FindStringSubmatch(was)
		if w == nil {
			continue
		}
		choice := "(" + w[2] + ")"
		for i, line := range is {
			m := shape.FindStringSubmatch(line)
			if m == nil || m[1] != w[1] || m[3] != w[3] {
				return "", false
			}
			choice = fmt.Sprintf("(mutant == %d ? (%s) : %s)", numbers[i], m[2], choice)
		}
		return w[1] + choice + w[3], true
	}
	if declaration.MatchString(was) {
		return eitherOf(was, numbers, is)
	}
	before := strings.TrimSpace(over)
	if !statement.MatchString(was) || before != "" && !strings.HasSuffix(before, "*/") && !strings.ContainsAny(before[len(before)-1:], ";{}):") && !strings.HasSuffix(before, "else") {
		return "", false
	}
	choice := "{ " + was + " }"
	for i, line := range is {
		choice = fmt.Sprintf("if (mutant == %d) { %s } else %s", numbers[i], line, choice)
	}
	return "{ " + choice + " }", true
}

// eitherOf is either of a declaration.
func eitherOf(was string, numbers []int, is []string) (string, bool) {
	parts := atCommas(strings.TrimSuffix(was, ";"))
	for i, line := range is {
		changed := atCommas(strings.TrimSuffix(line, ";"))
		if len(changed) != len(parts) {
			return "", false
		}
		first := atCommas(strings.TrimSuffix(was, ";"))
		for at := range changed {
			if changed[at] == first[at] {
				continue
			}
			name, value, _ := strings.Cut(parts[at], " = ")
			_, other, found := strings.Cut(changed[at], " = ")
			if !found || strings.HasPrefix(value, "{") {
				return "", false
			}
			parts[at] = fmt.Sprintf("%s = (mutant == %d ? (%s) : (%s))", name, numbers[i], other, value)
		}
	}
	return strings.Join(parts, ",") + ";", true
}

// atCommas splits at the commas that stand in no parentheses.
func atCommas(s string) (parts []string) {
	depth, from := 0, 0
	for i, c := range s {
		switch c {
		case '(', '{', '[':
			depth++
		case ')', '}', ']':
			depth--
		case ',':
			if depth == 0 {
				parts, from = append(parts, s[from:i]), i+1
			}
		}
	}
	return append(parts, s[from:])
}

// combined is the object of all these mutants, by their number from 1, or "".
func combined(t *testing.T, ms []mutant) string {
	t.Helper()
	changed := map[string]map[int]string{"lb.bpf.c": {1: aliveSource + firstLine(t, "lb.bpf.c")}}
	numbers, is := map[int][]int{}, map[int][]string{}
	for n, m := range ms {
		numbers[m.line], is[m.line] = append(numbers[m.line], n+1), append(is[m.line], m.is)
		line, possible := either(m.over, m.was, numbers[m.line], is[m.line])
		if !possible {
			return ""
		}
		if changed[m.file] == nil {
			changed[m.file] = map[int]string{}
		}
		changed[m.file][m.line] = line
	}
	return mutatedAll(t, "lb.bpf.c", changed)
}

func firstLine(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

// inOneObject tells what became of mutants of one file, in one object if that can be made and loaded, else in halves.
func inOneObject(t *testing.T, ms []mutant, original string, tell func(m mutant, got fate, how string)) {
	t.Helper()
	if len(ms) == 0 {
		return
	}
	if len(ms) == 1 {
		got, how := ms[0].try(t, original)
		tell(ms[0], got, how)
		return
	}
	if object := combined(t, ms); object != "" {
		verdicts := rowsOfMany(t, object, ms)
		os.RemoveAll(filepath.Dir(object))
		if len(verdicts) > 0 {
			var rest []mutant
			for n, m := range ms {
				v, judged := verdicts[n+1]
				switch {
				case !judged:
					rest = append(rest, m) // the rows of one before it did not end
				case v.fate == nowhere, v.fate == survived: // clang may have taken what is not assigned for what it was
					got, how := m.try(t, original)
					tell(m, got, how)
				case v.how != "":
					tell(m, v.fate, ": "+v.how)
				default:
					tell(m, v.fate, "")
				}
			}
			inOneObject(t, rest, original, tell)
			return
		}
	}
	inOneObject(t, ms[:len(ms)/2], original, tell)
	inOneObject(t, ms[len(ms)/2:], original, tell)
}

// verdict is what became of a mutant, and by which row.
type verdict struct {
	fate
	how string
}

var (
	judgement = regexp.MustCompile(`--- (PASS|FAIL): TestRowsOfManyMutants/(\d+)(/\S*)? \(`)
	begun     = regexp.MustCompile(`^=== (?:RUN|NAME) +TestRowsOfManyMutants/(\d+)`)
)

// rowsOfMany has a child look at each mutant in the object. It tells nothing of those that it did not come to.
func rowsOfMany(t *testing.T, object string, ms []mutant) map[int]verdict {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestRowsOfManyMutants$", "-test.v", "-test.timeout=30m")
	child.Env = append(os.Environ(), objectVar+"="+object, fmt.Sprintf("%s=%d %s", manyVar, len(ms), rowsOf(ms[0])))
	out, err := child.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	verdicts, now := map[int]verdict{}, 0
	for line := range strings.Lines(string(out)) {
		if b := begun.FindStringSubmatch(line); b != nil {
			now, _ = strconv.Atoi(b[1])
			continue
		}
		switch {
		case !strings.Contains(line, ": load: ") && !strings.Contains(line, " is in no program"):
		case now == 0:
			return nil
		case strings.Contains(line, " is in no program"):
			verdicts[now] = verdict{nowhere, ""}
		default:
			verdicts[now] = verdict{refused, ""}
		}
		v := judgement.FindStringSubmatch(line)
		if v == nil {
			continue
		}
		n, _ := strconv.Atoi(v[2])
		switch have := verdicts[n]; {
		case n == 0 && v[1] == "FAIL":
			return nil // nothing can be said of the mutants
		case have.fate == refused || have.fate == nowhere || n == 0:
		case v[1] == "FAIL" && len(v[3]) >= len(have.how):
			verdicts[n] = verdict{killed, v[3]} // the deepest row's name is the longest
		case v[1] == "PASS" && v[3] == "" && have.fate == "":
			verdicts[n] = verdict{survived, ""}
		}
	}
	return verdicts
}

// TestRowsOfManyMutants is what such a child does.
func TestRowsOfManyMutants(t *testing.T) {
	what := os.Getenv(manyVar)
	if what == "" {
		t.Skip("run by TestMutants")
	}
	count, file := 0, ""
	if _, err := fmt.Sscan(what, &count, &file); err != nil {
		t.Fatal(err)
	}
	first := firstTests[file]
	for n := range count + 1 { // 0: the original, which all rows must take
		aliveNow = n
		passed := t.Run(strconv.Itoa(n), func(t *testing.T) {
			for _, row := range first.rows {
				if !t.Run(nameOf(row), row) {
					return
				}
			}
			if first.traces != "" {
				playTraces(t, regexp.MustCompile(first.traces), true)
			}
		})
		if n == 0 && !passed {
			t.Fatal("the original fails")
		}
	}
}

func nameOf(test func(*testing.T)) string {
	name := runtime.FuncForPC(reflect.ValueOf(test).Pointer()).Name()
	return name[strings.LastIndexByte(name, '.')+1:]
}
