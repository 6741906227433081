-- What WhatsApp last said of the number of each line: its quality, since when it was read with this one, and its throughput.
-- Business time.
create table line_quality (
    tenant text not null,
    line text not null,
    quality text not null,     -- Meta's word: GREEN, YELLOW, RED, UNKNOWN
    since timestamptz not null,
    throughput text,           -- Meta's word: STANDARD, HIGH
    read_at timestamptz not null,
    primary key (tenant, line)
);
