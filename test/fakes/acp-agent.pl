# An agent that speaks the Agent Client Protocol with nothing but Perl's core. Each line of the prompt after "script:" is one thing
# that it does: see the table at the end. It says in the end what it was answered.
use strict; use warnings; use JSON::PP; $| = 1;
my $json = JSON::PP->new->utf8->canonical;
my $text = JSON::PP->new->canonical; # inside a message
my ($next, @heard, $session) = (0);
sub out { print $json->encode($_[0]), "\n" }
sub answer { my ($to, $result) = @_; out({jsonrpc => '2.0', id => $to->{id}, result => $result}) }
sub update { out({jsonrpc => '2.0', method => 'session/update', params => {sessionId => $session, update => $_[0]}}) }
sub in { my $line = <STDIN>; exit 0 unless defined $line; $json->decode($line) }
sub request {
    my ($method, $params) = @_;
    my $id = 'q' . $next++;
    out({jsonrpc => '2.0', id => $id, method => $method, params => {sessionId => $session, %$params}});
    while (1) {
        my $message = in();
        if (($message->{method} // '') eq 'session/cancel') { push @heard, 'cancel'; stop('cancelled') }
        return $message if ($message->{id} // '') eq $id && !exists $message->{method};
    }
}
my $prompt;
sub say_it { update({sessionUpdate => 'agent_message_chunk', content => {type => 'text', text => $_[0]}}) }
sub stop { my ($reason) = @_; say_it('heard: ' . join(' | ', @heard)); answer($prompt, {stopReason => $reason}); while (1) { in() } }
my @all = (['no', 'reject_once'], ['always', 'allow_always'], ['yes', 'allow_once']);
sub ask {
    my ($kind, $title, @options) = @_;
    @options = @all unless @options;
    my $call = 'c' . $next;
    update({sessionUpdate => 'tool_call', toolCallId => $call, title => $title, kind => $kind, status => 'pending'});
    my $said = request('session/request_permission', {
        toolCall => {toolCallId => $call, title => $title, kind => $kind},
        options => [map { {optionId => $_->[0], kind => $_->[1], name => 'x'} } @options],
    });
    my $outcome = $said->{result}{outcome} // {};
    my $answer = $said->{error} ? 'error' : $outcome->{optionId} // $outcome->{outcome};
    push @heard, $answer;
    return ($call, $answer);
}
my %can = (
    text => sub { say_it($_[0]) },
    think => sub { update({sessionUpdate => 'agent_thought_chunk', content => {type => 'text', text => $_[0]}}) },
    plan => sub { update({sessionUpdate => 'plan', entries => [{content => $_[0], priority => 'high', status => 'in_progress'}]}) },
    run => sub {
        my ($call, $answer) = ask('execute', $_[0]);
        return unless $answer eq 'yes';
        my $out = `$_[0] 2>&1`;
        update({sessionUpdate => 'tool_call_update', toolCallId => $call, status => $? ? 'failed' : 'completed',
            content => [{type => 'content', content => {type => 'text', text => $out}}]});
    },
    sh => sub { system $_[0] },
    ask => sub { my ($kind, $title, @kinds) = split /\|/, $_[0]; ask($kind, $title, map { ["o-$_", $_] } @kinds) },
    request => sub {
        my ($method, $params) = split / /, $_[0], 2;
        my $said = request($method, $text->decode($params));
        push @heard, $said->{error} ? "error $said->{error}{code}" : $text->encode($said->{result});
    },
    raw => sub { print eval qq("$_[0]"), "\n" },
    perl => sub { eval $_[0]; die $@ if $@ },
    stop => sub { stop($_[0]) },
    die => sub { exit $_[0] },
);
while (1) {
    my $message = in();
    my $method = $message->{method} // '';
    if ($method eq 'initialize') {
        out({jsonrpc => '2.0', id => $message->{id}, result => {protocolVersion => 1, agentCapabilities => {}, agentInfo => {name => 'builtin', version => '1.2'}}});
        push @heard, 'offers ' . $json->encode($message->{params}{clientCapabilities}) if $ENV{OFFERS};
    } elsif ($method eq 'session/new') {
        $session = 's-1';
        push @heard, "cwd $message->{params}{cwd}" if $ENV{OFFERS};
        answer($message, {sessionId => $session});
    } elsif ($method eq 'session/prompt') {
        $prompt = $message;
        my $text = join "\n", map { $_->{text} } @{$message->{params}{prompt}};
        my ($script) = $text =~ /script:\n(.*)/s;
        for my $line (split /\n/, $script // '') {
            my ($what, $rest) = $line =~ /^(\w+) ?(.*)$/ or next;
            $can{$what}->($rest);
        }
        stop('end_turn');
    }
}
