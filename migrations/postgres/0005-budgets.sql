-- What each agent has used in a minute, hour or day, by the beginning of that window: for the budgets of policies.
CREATE TABLE budget_use (
  agent TEXT COLLATE "C" NOT NULL,
  span TEXT COLLATE "C" NOT NULL,
  since TEXT COLLATE "C" NOT NULL,
  statements BIGINT NOT NULL,
  rows_changed BIGINT NOT NULL,
  rows_read BIGINT NOT NULL,
  PRIMARY KEY (agent, span, since)
);
